// `valija reference`: the reference of the manifest's keys, docs/manifest.md.

import ArgumentParser
import Manifest

struct Reference: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the reference of the manifest's keys, in Markdown.")

    func run() { print(ManifestReference.markdown(), terminator: "") }
}
