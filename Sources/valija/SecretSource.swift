// Reads the secrets that a manifest names, for a command that has to write them down.

import Appliance
import Manifest
import PostfixFiles

func readSecret(_ secret: Secret) throws(UnreadableSecret) -> String {
    do { return try secretText(secret) } catch { throw UnreadableSecret(reason: error.reason) }
}
