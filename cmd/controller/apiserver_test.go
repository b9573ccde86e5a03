// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing/step"
)

func certificatePEM(text string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)}))
}

func sha256Hex(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}

// TestAPIServer follows the add-on's own authorities through a rotation.
func TestAPIServer(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.crt")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(certificatePEM("one"))
	a, err := newAPIServer(&rest.Config{Host: "https://[fd00::1]:443",
		TLSClientConfig: rest.TLSClientConfig{CAFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	write(certificatePEM("one") + certificatePEM("two") + certificatePEM("one"))
	got, err := a.get()
	if err != nil {
		t.Fatal(err)
	}
	want := step.APIServer{Address: "https://[fd00::1]:443", CAs: []string{sha256Hex("one"), sha256Hex("two")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	write("")
	if _, err := a.get(); err == nil {
		t.Error("an API server without an authority")
	}
}

func TestAPIServerRefuses(t *testing.T) {
	many := &strings.Builder{}
	for i := range 65 {
		many.WriteString(certificatePEM(strings.Repeat("x", i)))
	}
	for name, config := range map[string]*rest.Config{
		"no encryption": {Host: "http://10.96.0.1:80",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte(certificatePEM("x"))}},
		"no port": {Host: "https://10.96.0.1",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte(certificatePEM("x"))}},
		"no authority":   {Host: "https://10.96.0.1:443"},
		"a lost file":    {Host: "https://10.96.0.1:443", TLSClientConfig: rest.TLSClientConfig{CAFile: "/does/not/exist"}},
		"no certificate": {Host: "https://10.96.0.1:443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte("x")}},
		"too many": {Host: "https://10.96.0.1:443",
			TLSClientConfig: rest.TLSClientConfig{CAData: []byte(many.String())}},
	} {
		if _, err := newAPIServer(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
