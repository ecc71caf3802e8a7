// The parameters that Postfix 3.7 has and what each is where main.cf does not set it, as `postconf -d` prints them
// (postconf(5), Debian 12's build). Most defaults are texts of `Defaults*.swift`; some follow from the host, and each
// delivery agent in master.cf brings parameters of its own name. `ParameterScope` evaluates what they say.

package struct ParameterDefaults: Sendable {
    /// What Postfix asks the machine for.
    package struct Host: Sendable {
        /// gethostname(2). Without a domain Postfix puts it into `localdomain`.
        package var name: String
        /// `mynetworks` as `mynetworks_style` makes it of the interfaces: `127.0.0.0/8 [::1]/128`.
        package var networks: String
        package var processID: Int32

        package init(name: String, networks: String = "127.0.0.0/8 [::1]/128", processID: Int32 = 0) {
            self.name = name
            self.networks = networks
            self.processID = processID
        }
    }

    /// A line of master.cf, as far as it brings parameters.
    package struct Service: Hashable, Sendable {
        package let name: String
        /// The last field: `smtp`, `pipe`, `local`, …
        package let program: String

        package init(name: String, program: String) {
            self.name = name
            self.program = program
        }
    }

    private var values: [String: String]

    package init(host: Host, services: [Service] = []) {
        values = ParameterDefaults.builtIn
        let name = host.name.contains(".") ? host.name : "\(host.name).localdomain"
        values["myhostname"] = name
        values["mydomain"] = ParameterDefaults.domain(of: name)
        values["mynetworks"] = host.networks
        values["process_id"] = String(host.processID)
        for service in services {
            for (suffix, origin) in ParameterDefaults.suffixes(of: service.program) {
                // Some agents have limits of their own: local_destination_recipient_limit.
                if values[service.name + suffix] == nil { values[service.name + suffix] = "$" + origin }
            }
        }
    }

    /// As written in `postconf -d`, not evaluated; nil: Postfix knows no such parameter.
    package subscript(name: String) -> String? { values[name] }

    /// In the order of `postconf -d`: by octets.
    package var names: [String] { values.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) } }

    /// postconf(5) mydomain: "$myhostname minus the first component", which has to leave one.
    package static func domain(of hostname: String) -> String {
        guard let dot = hostname.firstIndex(of: "."), dot != hostname.startIndex else { return "localdomain" }
        let rest = hostname[hostname.index(after: dot)...]
        return rest.isEmpty ? "localdomain" : String(rest)
    }

    /// Those whose defaults follow from the host, or from the process that is asked.
    package static let ofHost: Set<String> = ["myhostname", "mydomain", "mynetworks", "process_id"]

    /// Those that a new release changes.
    package static let ofRelease: Set<String> = ["mail_version", "mail_release_date"]

    /// Those that a delivery agent or spawn(8) has under its service's name, with the parameter that each falls back to.
    private static func suffixes(of program: String) -> [(String, String)] {
        switch program {
        case "local", "error", "virtual", "smtp", "lmtp": agentSuffixes
        case "pipe": agentSuffixes + [("_time_limit", "command_time_limit")]
        case "spawn": [("_time_limit", "command_time_limit")]
        default: []
        }
    }

    private static let agentSuffixes: [(String, String)] = [
        ("_delivery_slot_cost", "default_delivery_slot_cost"),
        ("_delivery_slot_discount", "default_delivery_slot_discount"),
        ("_delivery_slot_loan", "default_delivery_slot_loan"),
        ("_destination_concurrency_failed_cohort_limit", "default_destination_concurrency_failed_cohort_limit"),
        ("_destination_concurrency_limit", "default_destination_concurrency_limit"),
        ("_destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback"),
        ("_destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback"),
        ("_destination_rate_delay", "default_destination_rate_delay"),
        ("_destination_recipient_limit", "default_destination_recipient_limit"),
        ("_extra_recipient_limit", "default_extra_recipient_limit"),
        ("_initial_destination_concurrency", "initial_destination_concurrency"),
        ("_minimum_delivery_slots", "default_minimum_delivery_slots"),
        ("_recipient_limit", "default_recipient_limit"),
        ("_recipient_refill_delay", "default_recipient_refill_delay"),
        ("_recipient_refill_limit", "default_recipient_refill_limit"),
        ("_transport_rate_delay", "default_transport_rate_delay"),
    ]

    /// All but those of the host, read once when first asked for.
    private static let builtIn: [String: String] = {
        var values: [String: String] = [:]
        for text in [texts2toL, textsMtoR, textsStoZ] {
            for line in text.split(separator: "\n") {
                guard let equals = line.firstIndex(of: "=") else { preconditionFailure("no default: \(line)") }
                // `name = value`, `name =`: no name and no default begins or ends with a blank.
                values[String(line[..<equals].dropLast())] = String(line[line.index(after: equals)...].dropFirst())
            }
        }
        return values
    }()
}
