// SPDX-License-Identifier: Apache-2.0

package step

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
)

// APIServer is the only API server to which a signer may connect: the one of the add-on. The signer does not
// use the pod's environment and ca.crt for that, because namespace editors can change them with a Service and
// a ConfigMap.
type APIServer struct {
	Address string   // https://HOST:PORT
	CAs     []string // SHA-256 digests, in hex, of the certificates of authorities that may vouch for it
}

// maxCAs bounds the authorities. A rotation has two, distributions have up to a dozen.
const maxCAs = 64

const (
	flagAPIServer   = "api-server"
	flagAPIServerCA = "api-server-ca"
)

// Known reports whether the add-on passed an API server to the signer. Earlier versions did not.
func (a APIServer) Known() bool { return a.Address != "" || len(a.CAs) > 0 }

// HostPort returns where the API server listens.
func (a APIServer) HostPort() (host, port string, err error) {
	u, err := url.Parse(a.Address)
	if err != nil {
		return "", "", fmt.Errorf("-%s: %w", flagAPIServer, err)
	}
	host, port = u.Hostname(), u.Port()
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" ||
		a.Address != "https://"+net.JoinHostPort(host, port) {
		return "", "", fmt.Errorf("expected -%s https://HOST:PORT, got %q", flagAPIServer, a.Address)
	}
	return host, port, nil
}

// Validate returns the first error in the description of the API server.
func (a APIServer) Validate() error {
	if _, _, err := a.HostPort(); err != nil {
		return err
	}
	if len(a.CAs) == 0 || len(a.CAs) > maxCAs {
		return fmt.Errorf("expected 1 to %d times -%s, got %d", maxCAs, flagAPIServerCA, len(a.CAs))
	}
	for i, digest := range a.CAs {
		if b, err := hex.DecodeString(digest); err != nil || len(b) != 32 || hex.EncodeToString(b) != digest {
			return fmt.Errorf("expected -%s in 64 lower-case hex digits, got %q", flagAPIServerCA, digest)
		}
		if slices.Contains(a.CAs[:i], digest) {
			return errors.New("the same -" + flagAPIServerCA + " occurs twice")
		}
	}
	return nil
}

// args returns the arguments that addFlags reads.
func (a APIServer) args() []string {
	var args []string
	if a.Address != "" {
		args = append(args, "-"+flagAPIServer, a.Address)
	}
	for _, digest := range a.CAs {
		args = append(args, "-"+flagAPIServerCA, digest)
	}
	return args
}

func (a *APIServer) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&a.Address, flagAPIServer, "", "")
	fs.Func(flagAPIServerCA, "", func(s string) error {
		a.CAs = append(a.CAs, s)
		return nil
	})
}
