// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

// apiServer is the API server of this process, which signers may also use. Services and ConfigMaps in other
// namespaces also name an API server, but their editors can change that.
type apiServer struct {
	address string
	caFile  string
	caData  []byte
}

// newAPIServer takes the API server from the configuration of this process.
func newAPIServer(config *rest.Config) (apiServer, error) {
	u, err := url.Parse(config.Host)
	if err != nil {
		return apiServer{}, fmt.Errorf("address of the API server: %w", err)
	}
	a := apiServer{address: u.Scheme + "://" + u.Host, caFile: config.CAFile, caData: config.CAData}
	_, err = a.get()
	return a, err
}

// get returns the API server with its current authorities, which can change while this process runs.
func (a apiServer) get() (step.APIServer, error) {
	ca := a.caData
	if len(ca) == 0 {
		var err error
		if ca, err = os.ReadFile(a.caFile); err != nil {
			return step.APIServer{}, fmt.Errorf("reading the certificate authority of the API server: %w", err)
		}
	}
	api := step.APIServer{Address: a.address, CAs: certificateDigests(ca)}
	if len(api.CAs) == 0 {
		return step.APIServer{}, errors.New("the certificate authority of the API server is not a PEM certificate")
	}
	if err := api.Validate(); err != nil {
		return step.APIServer{}, fmt.Errorf("the API server of this add-on: %w", err)
	}
	return api, nil
}

// certificateDigests returns the SHA-256 digests of the certificates in PEM, each once.
func certificateDigests(ca []byte) (digests []string) {
	for block, rest := pem.Decode(ca); block != nil; block, rest = pem.Decode(rest) {
		digest := sha256.Sum256(block.Bytes)
		if text := hex.EncodeToString(digest[:]); block.Type == "CERTIFICATE" && !slices.Contains(digests, text) {
			digests = append(digests, text)
		}
	}
	return digests
}
