// Accounts: who may log in, and how a password is proved.
//
// Contract of this room, which holds nothing yet: users with crypt(3) hashes in, a verdict on a login out; the SASL
// mechanisms stand on that. Hashing is slow by purpose and therefore never runs on an event loop. No hash and no
// password ever reaches a log or an error. Which user gets which mail is `Routing`'s, not this room's.
