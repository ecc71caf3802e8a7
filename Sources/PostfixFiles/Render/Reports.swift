// The manifest's `reports` as parameters of Postfix's bounce(8), and as the classes of notices that its postmaster gets.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    func addReports(to groups: inout ParameterGroups) {
        let reports = system.reports
        if let warning = reports.delayWarning {
            groups.add(system.rule(warning.position, "reports.delay_warning"), ["delay_warning_time": warning.value.postfixTime])
        }
        if reports.returnedSize.position != nil {
            groups.add(system.rule(reports.returnedSize.position, "reports.returned_size"), ["bounce_size_limit": String(reports.returnedSize.value)])
        }
        if reports.verpDelimiters.position != nil {
            groups.add(
                system.rule(reports.verpDelimiters.position, "reports.verp_delimiters"),
                ["default_verp_delimiters": reports.verpDelimiters.value.delimiters])
        }
        addNotices(to: &groups)
    }

    /// postconf(5) notify_classes: those of its default stay, as its own troubles are Postfix's to tell of.
    private func addNotices(to groups: inout ParameterGroups) {
        let reports = system.reports
        let notices = [
            ("bounce", "bounce_notice_recipient", reports.bounceNotice), ("2bounce", "2bounce_notice_recipient", reports.doubleBounceNotice),
            ("delay", "delay_notice_recipient", reports.delayNotice),
        ].compactMap { name, parameter, target in target.map { (name: name, parameter: parameter, target: $0) } }
        guard !notices.isEmpty else { return }
        let classes = ["resource", "software"] + notices.map(\.name)
        groups.add(
            system.rule(notices.compactMap(\.target.position).min(), "reports"),
            [Parameter("notify_classes", classes.joined(separator: ", "))] + notices.map { Parameter($0.parameter, literal($0.target.value.word)) })
    }
}
