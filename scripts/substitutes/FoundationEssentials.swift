// Stands in for FoundationEssentials in the shipped binary: what swift-argument-parser asks of it, and nothing more.
//
// That library imports it for one file, which asks an error for its `LocalizedError` text and writes the hidden
// `--experimental-dump-help` as JSON. The real module costs 4.7 MB in a static binary for that (docs/decisions/0014-size.md).
// `scripts/build static` compiles this one and puts it in front of the toolchain's; debug builds and tests use the real one.
// Should the library ask for more some day, the static build fails to compile: it cannot go wrong silently.
//
// Does not: encode. The JSON dump is empty in the shipped binary, as the caller makes of an encoder's error.

public protocol LocalizedError: Error {
    var errorDescription: String? { get }
}

public struct Data: Sendable {
    let octets: [UInt8]
}

public final class JSONEncoder {
    public struct OutputFormatting: OptionSet, Sendable {
        public let rawValue: UInt
        public init(rawValue: UInt) { self.rawValue = rawValue }

        public static var prettyPrinted: OutputFormatting { OutputFormatting(rawValue: 1) }
        public static var sortedKeys: OutputFormatting { OutputFormatting(rawValue: 2) }
    }

    private struct Unsupported: Error {}

    public var outputFormatting: OutputFormatting = []
    public init() {}

    public func encode<Value: Encodable>(_: Value) throws -> Data { throw Unsupported() }
}

extension String {
    public enum Encoding: Sendable { case utf8 }

    public init?(data: Data, encoding: Encoding) { self.init(validating: data.octets, as: UTF8.self) }
}
