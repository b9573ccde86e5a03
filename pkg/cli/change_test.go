// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// TestConfirmWithoutTerminal must not take what a script happens to pipe in for an answer.
func TestConfirmWithoutTerminal(t *testing.T) {
	for name, tc := range map[string]struct {
		yes bool
		in  string
		err string
	}{
		"nothing to read":  {false, "", "add --yes"},
		"a yes is piped":   {false, "yes\n", "add --yes"},
		"--yes":            {true, "", ""},
		"--yes and a pipe": {true, "n\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			e := &env{IOStreams: genericiooptions.IOStreams{In: strings.NewReader(tc.in), Out: &out, ErrOut: &errOut}}
			err := (&changeOptions{yes: tc.yes}).confirm(e)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %v, want %q", err, tc.err)
			}
			if err != nil && exitCode(err) != ExitError {
				t.Errorf("exit code: got %d, want %d", exitCode(err), ExitError)
			}
		})
	}
}

func TestClusterError(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, "x", errors.New("no"))
	for name, tc := range map[string]struct {
		err  error
		code int
		text string
	}{
		"none":      {nil, ExitOK, ""},
		"forbidden": {fmt.Errorf("reading: %w", forbidden), ExitIndeterminate, "administrator"},
		"unknown":   {apierrors.NewUnauthorized("who"), ExitIndeterminate, "log in"},
		"another":   {errors.New("gave up waiting"), ExitError, "gave up waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			got := clusterError(tc.err)
			if code := exitCode(got); code != tc.code {
				t.Errorf("exit code: got %d, want %d", code, tc.code)
			}
			if got != nil && !strings.Contains(got.Error(), tc.text) {
				t.Errorf("got %q, want it to hold %q", got, tc.text)
			}
		})
	}
}

func TestChoice(t *testing.T) {
	var value string
	c := newChoice(&value, "none", "client")
	if value != "none" || c.Set("client") != nil || value != "client" {
		t.Errorf("got %q, want the first choice and then client", value)
	}
	if err := c.Set("Client"); err == nil || value != "client" {
		t.Errorf("an unknown choice: got %v and %q, want an error and no change", err, value)
	}
}
