// SPDX-License-Identifier: Apache-2.0

//go:build !race && linux

package corpus_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/cli"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
	"github.com/tekton-sign/kubectl-tekton-sign/test/corpus"
)

// grownBundles are trust bundles with something that can be repeated in a file. Each grows the bundle of the
// TaskRun.
var grownBundles = []struct {
	name string
	most int
	grow func(bundle, cluster object, n int)
}{
	{"clusters", 1023, func(bundle, cluster object, n int) {
		bundle["clusters"] = append(bundle["clusters"].([]any), list(n, func(i int) any {
			other := copyOf(cluster)
			other["uid"] = fmt.Sprintf("00000000-0000-4000-8000-%012x", i)
			return other
		})...)
	}},
	{"more clusters than are read", 24000, func(bundle, _ object, n int) {
		more := list(n, func(i int) any { return object{"uid": fmt.Sprint(i)} })
		bundle["clusters"] = append(bundle["clusters"].([]any), more...)
	}},
	{"issuers", 63, func(_, cluster object, n int) {
		issuers := cluster["serviceAccountIssuers"].([]any)
		cluster["serviceAccountIssuers"] = append(issuers, list(n, func(i int) any {
			issuer := copyOf(issuers[0].(map[string]any))
			issuer["issuer"] = fmt.Sprint("https://", i)
			return issuer
		})...)
	}},
	{"more issuers than are read", 20000, func(_, cluster object, n int) {
		cluster["serviceAccountIssuers"] = list(n, func(i int) any {
			return object{"issuer": fmt.Sprint("i", i), "keys": []any{}}
		})
	}},
	{"keys, with windows", 10000, func(_, cluster object, n int) {
		issuer := cluster["serviceAccountIssuers"].([]any)[0].(map[string]any)
		keys := issuer["keys"].([]any)
		issuer["keys"] = append(keys, list(n, func(i int) any {
			key := copyOf(keys[0].(map[string]any))
			jwk := copyOf(key["jwk"].(map[string]any))
			jwk["kid"] = fmt.Sprint("kid-", i)
			key["jwk"], key["notBefore"], key["notAfter"] = jwk, "2020-01-02T03:04:05Z", "2021-01-02T03:04:05Z"
			return key
		})...)
	}},
	{"trust domains", 1023, func(_, cluster object, n int) {
		cluster["spiffe"] = append(cluster["spiffe"].([]any), list(n, func(i int) any {
			return object{"trustDomain": fmt.Sprint("d", i), "federated": true, "x509Authorities": []any{}}
		})...)
	}},
	{"more trust domains than are read", 16000, func(_, cluster object, n int) {
		cluster["spiffe"] = list(n, func(i int) any {
			return object{"trustDomain": fmt.Sprint("d", i), "federated": true, "x509Authorities": []any{}}
		})
	}},
	{"recorders", 1023, func(_, cluster object, n int) {
		cluster["recorders"] = list(n, func(i int) any {
			return object{"subject": fmt.Sprint("system:serviceaccount:a:", i)}
		})
	}},
	{"more recorders than are read", 45000, func(_, cluster object, n int) {
		cluster["recorders"] = list(n, func(i int) any {
			return object{"subject": fmt.Sprint("system:serviceaccount:a:", i)}
		})
	}},
	{"identities", 30000, func(bundle, _ object, n int) {
		bundle["sigstore"] = object{"identities": list(n, func(i int) any {
			return object{"issuer": "https://a", "subject": fmt.Sprint(i)}
		})}
	}},
	{"elements of a trusted root", 45000, func(bundle, _ object, n int) {
		bundle["sigstore"] = object{"trustedRoot": object{"tlogs": list(n, func(i int) any { return object{"a": i} })}}
	}},
	{"members of a trusted root", 90000, func(bundle, _ object, n int) {
		bundle["sigstore"] = object{"trustedRoot": members(n)}
	}},
}

func copyOf(o map[string]any) object {
	other := object{}
	for key, value := range o {
		other[key] = value
	}
	return other
}

// The cost of showing and merging a trust bundle, and of verifying with it, grows no faster than its size,
// whatever it is that grows.
func TestGrowthOfTrustBundles(t *testing.T) {
	all, bundle := bases(t)
	for _, g := range grownBundles {
		t.Run(g.name, func(t *testing.T) {
			dirs := map[int]string{}
			for _, size := range []int{1, larger} {
				var o object
				if err := json.Unmarshal(bundle, &o); err != nil {
					t.Fatal(err)
				}
				cluster := object(o["clusters"].([]any)[0].(map[string]any))
				g.grow(o, cluster, g.most*size/larger)
				data, err := json.Marshal(o)
				if err != nil || len(data) > trust.MaxBytes {
					t.Fatalf("%d bytes are more than is read: %v", len(data), err)
				}
				dirs[size] = place(t, corpus.Case{File: all["plain"], Bundle: data})
				if err := os.WriteFile(filepath.Join(dirs[size], "other"), bundle, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for name, args := range map[string]func(dir string) []string{
				"show": func(dir string) []string { return []string{"trust", "show", filepath.Join(dir, "bundle")} },
				"merge": func(dir string) []string {
					return []string{"trust", "merge", filepath.Join(dir, "bundle"), filepath.Join(dir, "other")}
				},
				"verify": func(dir string) []string { return commands(dir)["verify"] },
			} {
				t.Run(name, func(t *testing.T) { checkCommand(t, func(size int) []string { return args(dirs[size]) }) })
			}
		})
	}
}

// checkCommand checks the cost of a command with arguments for both sizes.
func checkCommand(t *testing.T, args func(size int) []string) {
	t.Helper()
	checkGrowth(t, func(size int) {
		var out, errs bytes.Buffer
		streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errs}
		_ = cli.Run(t.Context(), "kubectl-tekton_sign", args(size), streams)
		text := errs.String()
		if strings.Contains(text, "internal error") || strings.Contains(text, "more than 100000 values") {
			t.Errorf("%.300s", text)
		}
	})
}
