// SPDX-License-Identifier: Apache-2.0

package admission

// late is the end of the message of a verdict that came after the completing write.
const late = "; verified late, the add-on did not see the write that completed the TaskRun"
