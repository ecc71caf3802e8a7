// libyaml: YAML events with source positions.
#include <yaml.h>
