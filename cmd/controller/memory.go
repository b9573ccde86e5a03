// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// memoryLimitFile holds the memory limit of the container (control groups, version 2).
const memoryLimitFile = "/sys/fs/cgroup/memory.max"

// saveMemory makes Go collect garbage before the heap reaches half of the container's memory limit, unless
// GOMEMLIMIT is set.
func saveMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(memoryLimitFile)
	if err != nil {
		return // this process cannot see a limit
	}
	if half := halfOf(string(text)); half > 0 {
		debug.SetMemoryLimit(half)
	}
}

// halfOf returns half of a limit, zero if there is none.
func halfOf(limit string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(limit), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n / 2
}
