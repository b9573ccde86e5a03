// SPDX-License-Identifier: Apache-2.0

package step

import (
	"errors"
	"flag"
	"fmt"
	"path"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// SPIRE describes how a signer gets its SVID, only for the backend spire.
type SPIRE struct {
	TrustDomain string // of the SVID
	Socket      string // file name of the agent's socket in the folder that the add-on mounts
}

const (
	flagTrustDomain = "spire-trust-domain"
	flagSocket      = "spire-socket"
)

// validate returns an error for the first part that no signer can use.
func (s SPIRE) validate(backend signing.Backend) error {
	if backend != signing.BackendSPIRE {
		if s != (SPIRE{}) {
			return fmt.Errorf("backend %s signs without SPIRE, got -%s or -%s", backend, flagTrustDomain, flagSocket)
		}
		return nil
	}
	domain, err := spiffeid.TrustDomainFromString(s.TrustDomain)
	if err != nil || domain.Name() != s.TrustDomain {
		return fmt.Errorf("expected the name of a SPIFFE trust domain for -%s, got %q", flagTrustDomain, s.TrustDomain)
	}
	if s.Socket == "" || s.Socket == "." || s.Socket == ".." || s.Socket != path.Base(s.Socket) {
		return errors.New("expected the name of a file for -" + flagSocket)
	}
	return nil
}

// args returns the arguments that addFlags reads.
func (s SPIRE) args() []string {
	if s == (SPIRE{}) {
		return nil
	}
	return []string{"-" + flagTrustDomain, s.TrustDomain, "-" + flagSocket, s.Socket}
}

func (s *SPIRE) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&s.TrustDomain, flagTrustDomain, "", "")
	fs.StringVar(&s.Socket, flagSocket, "", "")
}
