// `valija health`: asks the running appliance's /readyz. The image's HEALTHCHECK, since it has no curl.

import Appliance
import ArgumentParser
import MailSyntax
import Manifest

struct Health: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Asks the running appliance whether it is ready. Exit 0: ready, 1: not.")
    @OptionGroup var location: ManifestOption

    func run() throws {
        let status: ExitStatus
        do { status = try ask() } catch { status = report(error, as: "valija health") }
        if status != .ok { throw ExitCode(ExitStatus.failure.rawValue) }
    }

    private func ask() throws -> ExitStatus {
        guard let endpoint = try loadManifest(location.manifest).listen.health.value.first else {
            throw CommandError(status: .configuration, text: "listen.health names no address to ask")
        }
        // An appliance that listens at every address is asked over loopback.
        let isAny = endpoint.address.bytes.allSatisfy { $0 == 0 }
        let address = isAny ? IPAddress(endpoint.address.isV6 ? "::1" : "127.0.0.1")! : endpoint.address
        let connection = try LocalConnection(Endpoint(address: address, port: endpoint.port))
        connection.setTimeout(seconds: 5)
        var text: [UInt8] = []
        let code = try request(connection, "GET", "/readyz") { text += $1 }
        write(text, to: 1)
        return code == 200 ? .ok : .failure
    }
}
