// SPDX-License-Identifier: Apache-2.0

package admission

// late ends the message of a verdict that was not given in the write that completed the TaskRun.
const late = "; verified late, the add-on did not see the write that completed the TaskRun"
