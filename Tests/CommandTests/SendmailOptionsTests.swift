// The options of sendmail(1) as cron, mailers and scripts write them.

import MailSyntax
import Testing

@testable import valija

private func options(_ line: String, _ set: (inout SendmailOptions) -> Void) -> (String, SendmailOptions) {
    var options = try! SendmailOptions([])
    set(&options)
    return (line, options)
}

@Test(
    "options are read as getopt(3) reads them",
    arguments: [
        options("") { _ in },
        options("alice bob@x.test") { $0.recipients = ["alice", "bob@x.test"] },
        options("-t") { $0.readsRecipients = true },
        options("-ti") { ($0.readsRecipients, $0.ignoresDots) = (true, true) },
        options("-t -oi -oem -odb") { ($0.readsRecipients, $0.ignoresDots) = (true, true) },
        options("-oi -f alice@x.test -- -bob") { ($0.ignoresDots, $0.sender, $0.recipients) = (true, "alice@x.test", ["-bob"]) },
        options("-falice@x.test bob") { ($0.sender, $0.recipients) = ("alice@x.test", ["bob"]) },
        options("-itf alice@x.test") { ($0.ignoresDots, $0.readsRecipients, $0.sender) = (true, true, "alice@x.test") },
        options("-r alice bob") { ($0.sender, $0.recipients) = ("alice", ["bob"]) },
        options("-f <> bob") { ($0.sender, $0.recipients) = ("<>", ["bob"]) },
        options("-FAlice bob") { ($0.fullName, $0.recipients) = ("Alice", ["bob"]) },
        options("bob -t") { ($0.recipients, $0.readsRecipients) = (["bob"], true) },
        options("-N success,DELAY bob") { ($0.notify, $0.recipients) = ([.success, .delay], ["bob"]) },
        options("-N never bob") { ($0.notify, $0.recipients) = (.never, ["bob"]) },
        options("-R hdrs -V id-1 bob") { ($0.returnContent, $0.envelopeID, $0.recipients) = (.headers, "id-1", ["bob"]) },
        options("-bm bob") { $0.recipients = ["bob"] },
        options("-bs") { $0.mode = .smtp },
        options("-bp") { $0.mode = .printQueue },
        options("-b p") { $0.mode = .printQueue },
        options("-bi") { $0.mode = .initializeAliases },
        options("-I") { $0.mode = .initializeAliases },
        options("-q") { $0.mode = .flushQueue },
        options("-qIABC123") { ($0.mode, $0.flushedID) = (.flushQueue, "ABC123") },
        options("-q30m -t") { $0.readsRecipients = true },
        options("-B 8BITMIME -em -v -n -U -G -o 7 -O Timeout=1 -X /dev/null -C /etc/mail.cf -h 3 -p smtp -L tag -A m bob") { $0.recipients = ["bob"] },
        options("-O requiretls=yes -t") { ($0.requiresTLS, $0.readsRecipients) = (true, true) }, options("-ORequireTLS=Yes -O requiretls=no") { _ in },
        options("-") { $0.recipients = ["-"] },
    ])
func optionsAreRead(line: String, wanted: SendmailOptions) throws {
    #expect(try SendmailOptions(line.split(separator: " ").map(String.init)) == wanted)
}

@Test("an empty sender is the null sender")
func emptySender() throws { #expect(try SendmailOptions(["-f", "", "bob"]).sender == "") }

@Test(
    "what is no option, or asks for something else than would happen, is a usage error that names it",
    arguments: [
        ("-Z", "-Z"), ("-tZ", "-Z"), ("-f", "-f"), ("-b", "-b"), ("-bd", "-bd"), ("-bv", "-bv"), ("-N sometimes", "sometimes"), ("-N success,", "success,"),
        ("-N never,success", "never,success"), ("-R some", "some"), ("-qRsite", "-qRsite"), ("-o", "-o"),
        ("-O requiretls=maybe", "requiretls=maybe"),
    ])
func usageErrors(line: String, named: String) {
    let error = #expect(throws: SendmailOptions.UsageError.self) { try SendmailOptions(line.split(separator: " ").map(String.init)) }
    #expect(error?.text.contains(named) == true, "\(error?.text ?? "")")
}

@Test("a queue id is hexadecimal; anything else never gets into a path", arguments: ["", "ALL", "../x", "0123456789ABCDEF0", "AB C", "１２"])
func noQueueID(text: String) { #expect(throws: CommandError.self) { try queueID(text) } }

@Test("a queue id may be written in lower case")
func queueIDInLowerCase() throws { #expect(try queueID("6445439ee4a40") == "6445439EE4A40") }
