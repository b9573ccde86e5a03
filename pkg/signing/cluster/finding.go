// SPDX-License-Identifier: Apache-2.0

package cluster

// Level is how bad a finding is.
type Level int

// The levels. The zero value is the worst one.
const (
	Broken  Level = iota // steps cannot sign, or what they sign cannot be verified
	Unread               // it could not be read
	Warning              // it works, and should be otherwise
	Fine
)

// Finding is what a backend found in a cluster about something that it needs.
type Finding struct {
	Level         Level
	Message       string
	Expected, Got string // both or neither
	Next          string // the next step, a command if possible
}
