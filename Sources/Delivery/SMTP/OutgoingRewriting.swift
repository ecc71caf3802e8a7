// What changes about a message on its way out by SMTP: addresses that are not valid outside (generic(5)), and the sender of what
// is forwarded (SRS). Nothing of it is in the queue, so that reports speak of the addresses that people know.

internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import SMTP
package import Routing

package struct OutgoingRewriting: Sendable {
    private let router: Router
    private let addresses: AddressRewriting?
    private let srs: SRS?

    /// Nil: everything goes out as it is in the queue.
    package init?(_ router: Router) {
        addresses = router.rewriting.flatMap { $0.hasGeneric ? $0 : nil }
        srs = router.srs
        guard addresses != nil || srs != nil else { return nil }
        self.router = router
    }

    /// Headers change too.
    var rewritesHeader: Bool { addresses != nil }

    func headerRewriter() -> HeaderRewriter? {
        guard let addresses else { return nil }
        return HeaderRewriter { _, address in
            guard let domain = address.domain else { return nil }
            return addresses.generic(Address(localPart: address.localPart, domain: domain))
        }
    }

    /// Mail that came to one of our addresses and leaves for outside: its sender, one from outside too, is rewritten. What is
    /// just passed on for somebody is not.
    func isForwarded(_ recipient: QueuedRecipient, from sender: Address?) -> Bool {
        guard srs != nil, let sender, case .remote(let address) = recipient.target else { return false }
        return router.addressClass(of: sender.domain) == .outside && router.addressClass(of: address.domain) == .outside
            && router.addressClass(of: recipient.original.domain) != .outside
    }

    func sender(_ sender: Address?, isForwarded: Bool) -> Address? {
        guard let sender else { return nil }
        if isForwarded, let srs { return srs.forward(sender) ?? sender }
        return addresses?.generic(sender) ?? sender
    }

    func recipient(_ address: Address) -> Address { addresses?.generic(address) ?? address }

    /// Blocks where content is in a file: its beginning is read, rewritten, and stands in for what it replaces.
    func rewriteContent(of content: MessageContent) throws -> (content: MessageContent, head: ContentFile.Head?) {
        guard var rewriter = headerRewriter() else { return (content, nil) }
        switch content {
        case .inline(var bytes):
            _ = rewriter.rewrite(&bytes, isLast: true)
            return (.inline(bytes), nil)
        case .file(let path, let size):
            let file = try ContentFile(path: path, size: size)
            let whole = try ContentFile.Head.read(file, &rewriter)
            return (content, whole)
        }
    }
}

extension ContentFile {
    /// What goes out in the place of the first `length` octets of a file.
    struct Head: Sendable {
        let octets: ByteBuffer
        let length: Int

        /// A header is not longer; what is beyond stays as it is.
        private static let longest = 1 << 20

        /// Nil: nothing changes.
        static func read(_ file: ContentFile, _ rewriter: inout HeaderRewriter) throws -> Head? {
            var octets = ByteBuffer()
            var rest = ByteBuffer()
            var offset = 0
            while !rewriter.isDone, offset < min(file.size, longest) {
                var part = rest
                part.writeImmutableBuffer(try file.read(at: offset))
                offset += part.readableBytes - rest.readableBytes
                rest = rewriter.rewrite(&part, isLast: offset >= file.size)
                octets.writeImmutableBuffer(part)
            }
            return Head(octets: octets, length: offset - rest.readableBytes)
        }
    }
}
