// What libraries log through swift-log, as lines of ours: event `diagnostic`.

package import Logging

package struct LibraryLog: LogHandler {
    private let log: EventLog
    package var metadata: Logger.Metadata = [:]
    package var logLevel = Logger.Level.warning

    package init(log: EventLog) { self.log = log }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let level: Level =
            switch event.level {
            case .trace, .debug: .debug
            case .info, .notice: .info
            case .warning: .warning
            case .error, .critical: .error
            }
        log.record(.diagnostic, by: .appliance, level: level) { fields in
            fields.message = event.message.description
            let metadata = metadata.merging(event.metadata ?? [:]) { $1 }
            if !metadata.isEmpty { fields.reason = metadata.map { "\($0)=\($1)" }.sorted().joined(separator: " ") }
        }
    }
}
