// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
)

// emit writes a result of a step. The canaries of selftest run it, so that they need no image but the signer's.
func emit(path, value string) error {
	if err := os.WriteFile(path, []byte(value), 0o644); err != nil { // #nosec G306 G703 -- Tekton reads it as another user
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
