// `valija schema`: the JSON Schema of the manifest, for editors.

import ArgumentParser
import Manifest

struct Schema: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the JSON Schema of the manifest, for editors.")

    func run() { print(JSONSchema.text(), terminator: "") }
}
