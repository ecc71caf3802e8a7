// Points in time and their texts: RFC 5322 §3.3 for headers, RFC 3339 for logs. Always UTC. Time is passed in; only
// `Timestamp.now` reads the clock, and only the outermost layers call it.

internal import Glibc

/// Microseconds since 1970-01-01T00:00:00Z.
package struct Timestamp: Hashable, Comparable, Sendable {
    package let microseconds: Int64

    package init(microseconds: Int64) { self.microseconds = microseconds }
    package init(seconds: Int64) { microseconds = seconds * 1_000_000 }

    package static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }

    package var seconds: Int64 { microseconds.quotientFlooring(1_000_000) }

    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.microseconds < b.microseconds }
    package static func + (a: Timestamp, b: Duration) -> Timestamp { Timestamp(microseconds: a.microseconds + b.inMicroseconds) }
    package static func - (a: Timestamp, b: Timestamp) -> Duration { .microseconds(a.microseconds - b.microseconds) }

    /// `Tue, 24 Nov 2026 13:05:09 +0000` (RFC 5322 §3.3 date-time).
    package var rfc5322: String {
        let date = CivilDate(self)
        return "\(date.weekday), \(date.day) \(date.monthName) \(date.year) \(date.clock) +0000"
    }

    /// `2026-11-24T13:05:09.123456Z` (RFC 3339). Written digit by digit: each log line has one.
    package var rfc3339: String {
        let date = CivilDate(self)
        let second = Int(seconds - date.dayNumber * 86_400)
        return String(unsafeUninitializedCapacity: 27) { text in
            func write(_ number: Int, _ width: Int, at position: Int) {
                var rest = number
                for offset in stride(from: position + width - 1, through: position, by: -1) {
                    text[offset] = UInt8(ascii: "0") + UInt8(rest % 10)
                    rest /= 10
                }
            }
            (text[4], text[7], text[10], text[13]) = (UInt8(ascii: "-"), UInt8(ascii: "-"), UInt8(ascii: "T"), UInt8(ascii: ":"))
            (text[16], text[19], text[26]) = (UInt8(ascii: ":"), UInt8(ascii: "."), UInt8(ascii: "Z"))
            write(date.year, 4, at: 0)
            write(date.month, 2, at: 5)
            write(date.day, 2, at: 8)
            write(second / 3600, 2, at: 11)
            write(second / 60 % 60, 2, at: 14)
            write(second % 60, 2, at: 17)
            write(Int(microseconds - seconds * 1_000_000), 6, at: 20)
            return 27
        }
    }

    /// `Tue Nov 24 13:05:09 2026`, as asctime(3) and the `From ` line of an mbox write it.
    package var asctime: String { "\(asctimeWithoutYear) \(CivilDate(self).year)" }

    /// `Tue Nov 24 13:05:09`, as mailq(1) writes it.
    package var asctimeWithoutYear: String {
        let date = CivilDate(self)
        return "\(date.weekday) \(date.monthName) \(date.day < 10 ? " " : "")\(date.day) \(date.clock)"
    }

    /// `Nov 24 13:05:09`, as syslog has it (RFC 3164 §4.1.2).
    package var syslog: String { String(asctimeWithoutYear.dropFirst(4)) }
}

extension Duration {
    package var inMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
    package var inSeconds: Double { Double(inMicroseconds) / 1_000_000 }
}

extension Int64 {
    fileprivate func quotientFlooring(_ divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

private func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

/// The proleptic Gregorian date of a timestamp, by days since the epoch and eras of 400 years.
private struct CivilDate {
    private static let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]  // day 0 of the epoch was a Thursday
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    let dayNumber: Int64
    let year: Int
    let month: Int
    let day: Int
    var weekday: String { CivilDate.weekdays[Int(((dayNumber % 7) + 7) % 7)] }
    var monthName: String { CivilDate.months[month - 1] }
    var clock: String {
        "\(twoDigits(second / 3600)):\(twoDigits(second / 60 % 60)):\(twoDigits(second % 60))"
    }
    private let second: Int

    init(_ time: Timestamp) {
        let seconds = time.seconds
        dayNumber = seconds.quotientFlooring(86_400)
        second = Int(seconds - dayNumber * 86_400)
        // Count from 1 March of year 0, so that the leap day ends a year.
        let shifted = dayNumber + 719_468
        let era = shifted.quotientFlooring(146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = Int(dayOfYear - (153 * marchMonth + 2) / 5 + 1)
        month = Int(marchMonth < 10 ? marchMonth + 3 : marchMonth - 9)
        year = Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0)
    }
}
