// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/toolchain"
)

// Client programs that tests run beside a lab.
const (
	Kubectl              = "kubectl"
	Tkn                  = "tkn"
	Krew                 = "krew"
	ValidateKrewManifest = "validate-krew-manifest"
)

// Program returns the path of a client program. It is built first where the cache lacks it; the lab need not be up.
func (l *Lab) Program(ctx context.Context, name string) (path string, err error) {
	for _, binary := range toolchain.Clients() {
		if binary.Name == name {
			return l.build(ctx, binary)
		}
	}
	return "", fmt.Errorf("unknown client program %q", name)
}
