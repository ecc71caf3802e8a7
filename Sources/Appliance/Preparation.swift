// A manifest that is ready to be put into force: judged as a whole, and turned into what each part of the appliance is told.
//
// Making it takes as long as the manifest is long, on whatever thread it is made. Putting it into force then is to hand out
// references to what nobody changes any more.

internal import DNS
internal import Delivery
internal import MailQueue
internal import MailSyntax
package import Manifest
internal import Policy
internal import Routing
internal import SMTP
internal import SMTPServer
package import Telemetry

struct Preparation: Sendable {
    /// As it was read, for whoever compares another with it.
    let text: [UInt8]
    let queueDirectory: Located<String>
    let format: Located<MailSystem.Logging.Format>
    /// Nil: another server keeps the mailboxes.
    let mailboxDirectory: Located<String>?
    let listen: MailSystem.Listen
    let level: Telemetry.Level
    let space: SpoolSpace.Minimum
    let mail: MailConfigurations
    let queue: DeliveryScheduler.Configuration
    let mailboxes: LocalAgent.Configuration
    let commands: CommandAgent.Configuration
    let nextHops: SMTPAgent.Configuration
    let names: Resolver.Configuration
    let resolvers: Located<[MailSystem.DNS.Resolver]>
    let contents: String
    let certificates: [LoadedCertificate]
    /// Files whose change makes the same manifest another.
    let certificateFiles: [String]
    /// What files that the manifest names say against it: with any, it is not put into force.
    let faults: [Diagnostic]
    /// What of `networks` is not trusted as it is written, and why.
    let networksFault: String?

    /// `log` gets what becomes of the files of directories, now and later.
    init(_ system: MailSystem, text: [UInt8], log: EventLog) {
        var faults: [Diagnostic] = []
        var routing = routerConfiguration(system, srs: srsConfiguration(system, faults: &faults))
        routing.opensLists = false
        let router = Router(routing)
        self.text = text
        queueDirectory = system.queue.directory
        format = system.logging.format
        mailboxDirectory = system.mailboxes.via == nil ? system.mailboxes.directory : nil
        listen = system.listen
        level = system.logging.level.value.threshold
        space = SpoolSpace.Minimum(
            octets: system.queue.minimumFree.value, rule: system.rule(system.queue.minimumFree.position, "queue.minimum_free"))
        let surroundings = Surroundings.now()
        var certificates: [LoadedCertificate] = []
        mail = mailConfigurations(system, router, standIns: Set(surroundings.standIns.keys), log, certificates: &certificates, faults: &faults)
        self.certificates = certificates
        certificateFiles = system.certificateFiles
        networksFault = surroundings.advice(on: mail.smtp.policy.standInsCovered)
        queue = queueConfiguration(system, router)
        mailboxes = mailboxConfiguration(system, router)
        commands = commandConfiguration(system)
        nextHops = nextHopConfiguration(system, router, log, faults: &faults)
        names = resolverConfiguration(system.dns)
        resolvers = system.dns.resolvers
        contents = system.contents
        self.faults = faults
    }
}

extension Preparation {
    func logNetworksFault(_ log: EventLog) {
        guard let networksFault else { return }
        log.record(.networksDoubted, by: .appliance) { $0.reason = networksFault }
    }
}

extension MailSystem {
    /// `3 domains, 2 users, 4 aliases`.
    fileprivate var contents: String {
        func count(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
        return [count(domains.count, "domain", "domains"), count(users.count, "user", "users"), count(aliases.count, "alias", "aliases")].joined(separator: ", ")
    }
}

extension MailSystem.Logging.Level {
    package var threshold: Telemetry.Level {
        switch self {
        case .debug: .debug
        case .info: .info
        case .warning: .warning
        case .error: .error
        }
    }
}
