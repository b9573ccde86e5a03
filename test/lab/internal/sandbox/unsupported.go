// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package sandbox

import (
	"context"
	"errors"
	"io"
)

var errUnsupported = errors.New("namespaces need Linux")

// Launch needs Linux.
func Launch(context.Context, Config, string) (PIDs, error) { return PIDs{}, errUnsupported }

// Running is false everywhere but on Linux.
func Running(string) (PIDs, bool) { return PIDs{}, false }

// Stop has nothing to stop everywhere but on Linux.
func Stop(string) error { return nil }

// Supervise needs Linux.
func Supervise(Config, []string) error { return errUnsupported }

// Enter needs Linux.
func Enter(Config, []string) error { return errUnsupported }

// Lock needs Linux.
func Lock(context.Context, string) (io.Closer, error) { return nil, errUnsupported }

// Init needs Linux.
func Init(Config) error { return errUnsupported }
