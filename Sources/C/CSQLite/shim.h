// SQLite: the spool.
#include <sqlite3.h>
