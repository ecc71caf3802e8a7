// Is this manifest fit to be put into force? The one question that `check`, `serve` and a reload ask, so that no one of them
// takes what another refuses.

package import Manifest

/// Reads and judges a manifest as a whole.
package func checkManifest(text: [UInt8], file: String) -> ReadResult {
    ManifestReader.read(text: text, file: file)
}
