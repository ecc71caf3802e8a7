// swift-tools-version: 6.2
// Valija's package: the rooms of the house in layers, arrows pointing down (docs/decisions/0001-layers.md).
// `LayerTests` reads the import lines of Sources/ and fails on an arrow that points up.

import PackageDescription

/// `Fuzz/run` sets it: then the fuzz targets exist, and all code of ours counts the branches it takes. Unsafe flags and
/// libFuzzer's own main have no place in an ordinary build.
let isFuzzing = Context.environment["VALIJA_FUZZ"] == "1"
let fuzzing: [SwiftSetting] = isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer"])] : []

let swiftSettings: [SwiftSetting] = [
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
] + fuzzing

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioConcurrency: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: "swift-nio")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

func room(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// `data`: folders of the tests' own files, which they find through `#filePath`.
func tests(_ name: String, _ dependencies: [Target.Dependency], data: [String] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies, exclude: data, swiftSettings: swiftSettings)
}

func library(_ name: String, apt: String) -> Target {
    .systemLibrary(name: name, path: "Sources/C/\(name)", providers: [.apt([apt])])
}

func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + ["FuzzDriver"], path: "Fuzz/\(name)", exclude: ["corpus"],
        swiftSettings: swiftSettings, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
}

let fuzzers: [Target] = [
    .target(name: "FuzzDriver", path: "Fuzz/Driver", swiftSettings: swiftSettings),
    fuzzer("HeaderFuzzer", ["MailSyntax", "Routing"]),
    fuzzer("LoginFuzzer", ["Accounts"]),
    fuzzer("ManifestFuzzer", ["Manifest"]),
    fuzzer("NamesFuzzer", ["Appliance", "DNS", "MailSyntax"]),
    fuzzer("PostfixImportFuzzer", ["PostfixFiles", "Manifest"]),
    fuzzer("RewritingFuzzer", ["Routing", "MailSyntax"]),
    fuzzer("SevenBitFuzzer", ["SMTP", nioCore]),
    fuzzer("SMTPClientFuzzer", ["SMTP", "MailSyntax", nioCore]),
    fuzzer("SMTPServerFuzzer", ["SMTP", "MailSyntax", nioCore]),
]

let package = Package(
    name: "valija",
    products: [.executable(name: "valija", targets: ["valija"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Layer 0
        library("COpenSSL", apt: "libssl-dev"),
        library("CYAML", apt: "libyaml-dev"),
        library("CUnbound", apt: "libunbound-dev"),
        library("CSQLite", apt: "libsqlite3-dev"),
        library("CCrypt", apt: "libcrypt-dev"),
        library("CLMDB", apt: "liblmdb-dev"),
        library("CLinux", apt: "libc6-dev"),
        room("MailSyntax", []),
        room("Telemetry", [logging, nioConcurrency]),

        // Layer 1
        room("Manifest", ["MailSyntax", "CYAML"]),
        room("SMTP", ["MailSyntax", nioCore]),
        room("DNS", ["MailSyntax", "CUnbound", nioConcurrency]),
        room("TLS", ["COpenSSL", nioCore, nioConcurrency]),
        room("Mailboxes", ["MailSyntax", "CLinux"]),
        room("LMDB", ["CLMDB"]),

        // Layer 2
        room("Accounts", ["MailSyntax", "CCrypt", "COpenSSL", nioPosix, nioConcurrency]),
        room("PostfixFiles", ["Manifest", "MailSyntax"]),
        room("Routing", ["MailSyntax", "COpenSSL"]),
        room("MailQueue", ["MailSyntax", "Telemetry", "CSQLite", deque, nioCore, nioPosix, nioConcurrency]),

        // Layer 3
        room("Policy", ["MailSyntax", "Routing"]),

        // Layer 4
        room("SMTPServer", ["Accounts", "MailSyntax", "Telemetry", "SMTP", "DNS", "TLS", "Routing", "Policy", "MailQueue", nioCore, nioPosix, nioConcurrency]),
        room("Delivery", ["Accounts", "MailSyntax", "CLinux", "Telemetry", "SMTP", "DNS", "TLS", "Mailboxes", "Routing", "MailQueue", nioCore, nioPosix, nioConcurrency]),
        room("MailboxAccess", ["Mailboxes", "Accounts"]),

        // Layer 5
        room("Appliance", [
            "MailSyntax", "Telemetry", "Manifest", "SMTP", "DNS", "TLS", "Mailboxes", "Accounts", "Routing", "Policy",
            "MailQueue", "SMTPServer", "Delivery", "MailboxAccess",
            nioCore, nioPosix, nioHTTP1, nioConcurrency, lifecycle, unixSignals, logging,
        ]),
        .executableTarget(
            name: "valija",
            dependencies: ["Accounts", "Appliance", "Manifest", "Mailboxes", "MailQueue", "PostfixFiles", "LMDB", "MailSyntax", "Telemetry", argumentParser],
            swiftSettings: swiftSettings),

        // Tests
        tests("Accounts", ["Accounts", "MailSyntax", nioPosix, nioConcurrency]),
        tests("Appliance", ["Appliance", "Manifest", "MailQueue", "MailSyntax", "Policy", "SMTPServer", "Telemetry", nioCore, nioPosix]),
        tests("Architecture", []),
        tests("Command", ["valija", "Mailboxes", "Manifest", "PostfixFiles", "LMDB", "MailSyntax"]),
        tests("Delivery", ["Delivery", "Mailboxes", "MailQueue", "SMTP", "DNS", "TLS", "MailSyntax", "Telemetry", nioCore, nioPosix, nioConcurrency, nioEmbedded]),
        tests("DNS", ["DNS", "MailSyntax"]),
        tests("LMDB", ["LMDB"]),
        tests("Mailboxes", ["Mailboxes", "MailSyntax"]),
        tests("MailQueue", ["MailQueue", "MailSyntax", "Telemetry", "CSQLite", nioCore, nioPosix, nioConcurrency, nioEmbedded]),
        tests("MailSyntax", ["MailSyntax"]),
        tests("Manifest", ["Manifest", "MailSyntax"], data: ["broken", "planned", "valid"]),
        tests("Policy", ["Policy", "Routing", "MailSyntax"]),
        tests("PostfixFiles", ["PostfixFiles", "Manifest", "MailSyntax"], data: ["golden"]),
        tests("Routing", ["Routing", "MailSyntax"]),
        tests("SMTP", ["SMTP", "MailSyntax", nioCore], data: ["dialogues"]),
        tests("SMTPServer", [
            "Accounts", "SMTPServer", "SMTP", "DNS", "MailQueue", "MailSyntax", "Policy", "Routing", "Telemetry", nioCore, nioPosix, nioConcurrency, nioEmbedded,
        ]),
        tests("Telemetry", ["Telemetry"]),
        tests("TLS", ["TLS", nioCore, nioEmbedded]),

        // Benchmarks
        .executableTarget(
            name: "LocalDeliveryBenchmark",
            dependencies: ["Delivery", "Mailboxes", "MailQueue", "MailSyntax", nioCore, nioPosix],
            path: "Benchmarks/LocalDelivery",
            swiftSettings: swiftSettings),
    ],
    swiftLanguageModes: [.v6]
)

if isFuzzing { package.targets += fuzzers }
