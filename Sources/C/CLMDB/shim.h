// LMDB: Postfix's lmdb: tables.
#include <lmdb.h>
