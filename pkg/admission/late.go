// SPDX-License-Identifier: Apache-2.0

package admission

import "strings"

// late ends the message of a verdict that was not given in the write that completed the TaskRun.
const late = "; verified late, the add-on did not see the write that completed the TaskRun"

// SaysLate reports whether the message of our condition says that the add-on did not see the write that completed the TaskRun. A
// message that is too long is cut before it says so.
func SaysLate(message string) bool { return strings.Contains(message, "; verified late") }
