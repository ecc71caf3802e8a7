// Small parts of health, and what a failed start says.

import Glibc
import NIOCore
import Testing

@testable import Appliance

@Test(
    "a label's value is escaped as Prometheus' text format demands",
    arguments: [("mail.yaml", "mail.yaml"), ("a\"b", "a\\\"b"), ("a\\b", "a\\\\b"), ("a\nb", "a\\nb"), ("\\\"", "\\\\\\\""), ("grüße", "grüße")])
func labelValues(text: String, value: String) { #expect(labelValue(text) == value) }

@Test(
    "a listener that does not open says what the system said, and what to do where that is known",
    arguments: [
        (EACCES, 25, "Permission denied; ports below 1024 need"), (EACCES, 2525, "Permission denied"), (EACCES, nil, "Permission denied"),
        (EADDRINUSE, 25, "Address already in use; another program listens there"), (EADDRNOTAVAIL, 25, "Cannot assign requested address; no interface"),
    ] as [(CInt, UInt16?, String)])
func bindFailures(code: CInt, port: UInt16?, text: String) {
    let reason = Listeners.reason(IOError(errnoCode: code, reason: "bind"), port: port)
    #expect(text.contains(";") ? reason.hasPrefix(text) : reason == text, "\(reason)")
}
