// From the manifest to how the log is written.

internal import MailSyntax
package import Manifest
package import Telemetry

package func logFormat(_ system: MailSystem) -> LogFormat {
    switch system.logging.format.value {
    case .json: .json { Timestamp.now().rfc3339 }
    // As Postfix names its host: the first label.
    case .text: .text(host: String(system.hostname.value.key.prefix { $0 != "." })) { Timestamp.now().syslog }
    }
}
