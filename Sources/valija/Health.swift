// `valija health`: asks the running appliance's /readyz. The image's HEALTHCHECK, since it has no curl.

import Appliance
import ArgumentParser
import MailSyntax
import Manifest

struct Health: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Asks the running appliance whether it is ready.",
        discussion: "Prints what /readyz answers. Exit 0: ready; 1: not ready, or it could not be asked; 64: the command line is wrong.")
    @OptionGroup var location: ManifestOption

    func run() throws {
        let status: ExitStatus
        do { status = try ask() } catch { status = report(error, as: "valija health") }
        if status != .ok { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    private func ask() throws -> ExitStatus {
        let system = try loadManifest(location.manifest)
        let connection =
            if let endpoint = system.listen.health.value.first {
                try LocalConnection(reachable(endpoint))
            } else {
                // No health port is open: the appliance's own socket knows it as well.
                try LocalConnection(unixSocket: ApplianceSockets.control(system.queue.directory.value))
            }
        // Within the time that the image's HEALTHCHECK allows.
        connection.setTimeout(seconds: 4)
        var text: [UInt8] = []
        let code = try connection.request("GET", "/readyz") { text += $1 }
        write(text, to: 1)
        return code == 200 ? .ok : .failure
    }

    /// An appliance that listens at every address is asked over loopback.
    private func reachable(_ endpoint: Endpoint) -> Endpoint {
        guard endpoint.address.bytes.allSatisfy({ $0 == 0 }) else { return endpoint }
        return Endpoint(address: IPAddress(endpoint.address.isV6 ? "::1" : "127.0.0.1")!, port: endpoint.port)
    }
}
