// libunbound: the validating resolver. The libraries it stands on are named for the static link.
#include <unbound.h>
