#pragma once
#include <spawn.h>
#include <stdint.h>
#include <sys/vfs.h>

// Declared in unistd.h and spawn.h for _GNU_SOURCE only, which the importer does not define.
int syncfs(int fd);
int pipe2(int pipe[2], int flags);
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int from);

// fcntl(2): locks that belong to the open file. Numbers of the kernel's interface, the same on all architectures.
static const int valija_F_OFD_SETLK = 37;

// f_type of fstatfs(2), 0 where the call fails.
static inline uint32_t valija_file_system_type(int fd) {
    struct statfs result;
    return fstatfs(fd, &result) == 0 ? (uint32_t)result.f_type : 0;
}
