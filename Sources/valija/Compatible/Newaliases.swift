// `newaliases` (and `sendmail -bi`): has changed aliases come into force. They stand in the manifest, so the running appliance loads
// that again, as by `valija reload`; where none runs, the manifest is checked. Silent if all is well.

import Appliance
import Manifest

enum Newaliases {
    static func run() -> ExitStatus {
        do {
            let connection = try LocalConnection(unixSocket: ApplianceSockets.control(try applianceDirectory(nil)))
            var answer: [UInt8] = []
            let status = try connection.request("POST", "/reload?format=text") { answer += $1 }
            if status == 200 { return .ok }
            write(answer, to: 2)
            return .configuration
        } catch let error as LocalClientError where error.kind == .notRunning {
            do {
                _ = try validManifest(manifestPath(nil))
                return .ok
            } catch {
                return report(error, as: "newaliases")
            }
        } catch {
            return report(error, as: "newaliases")
        }
    }
}
