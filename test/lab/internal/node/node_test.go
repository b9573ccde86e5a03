// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func example(state string) Layout {
	return Layout{State: state, Name: "lab-a", Address: netip.MustParseAddr("198.18.0.2"), CNIPlugins: "/usr/lib/cni"}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestArgs(t *testing.T) {
	var all strings.Builder
	for _, component := range Components() {
		args, err := Args(example("/state"), component)
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(component + "\n  " + strings.Join(args, "\n  ") + "\n")
	}
	golden(t, "args.txt", all.String())
}

func TestExtraArgsComeLast(t *testing.T) {
	args, err := Args(example("/state"), Etcd, "--log-level=debug")
	if err != nil {
		t.Fatal(err)
	}
	if got := args[len(args)-1]; got != "--log-level=debug" {
		t.Errorf("last argument: expected --log-level=debug, got %s", got)
	}
	plain, _ := Args(example("/state"), Etcd)
	if diff := cmp.Diff(plain, args[:len(args)-1]); diff != "" {
		t.Errorf("arguments before (-want +got):\n%s", diff)
	}
}

func TestArgsOfUnknownComponent(t *testing.T) {
	_, err := Args(example("/state"), "kube-proxy")
	if err == nil || !strings.Contains(err.Error(), `"kube-proxy"`) || !strings.Contains(err.Error(), Kubelet) {
		t.Errorf("expected an error with the name and the known ones, got %v", err)
	}
}

func TestWriteFiles(t *testing.T) {
	l := example(t.TempDir())
	if err := WriteFiles(l); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"containerd.toml", "kubelet.yaml", "cni/10-lab.conflist", "hosts", "resolv.conf"} {
		data, err := os.ReadFile(l.Etc(name))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), l.State, "/state")
		golden(t, filepath.Base(name), text)
		if strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".conflist") {
			var any map[string]any
			if err := yaml.UnmarshalStrict(data, &any); err != nil {
				t.Errorf("%s: expected a well-formed file, got %v", name, err)
			}
		}
	}
}

func TestWriteCredentials(t *testing.T) {
	l := example(t.TempDir())
	if err := WriteCredentials(l, time.Now()); err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile(l.PKI("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	for file, names := range map[string][]string{
		"apiserver":   {"198.18.0.2", "10.96.0.1", "127.0.0.1", "kubernetes.default.svc"},
		"kubelet":     {"198.18.0.2", "lab-a"},
		"controllers": {"198.18.0.2"},
	} {
		pair, err := tls.LoadX509KeyPair(l.PKI(file+".crt"), l.PKI(file+".key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
				t.Errorf("certificate of %s for %s: expected no error, got %v", file, name, err)
			}
		}
	}
	for user, subject := range map[string]string{
		Admin: "CN=lab-admin,O=system:masters", Kubelet: "CN=system:node:lab-a,O=system:nodes",
		Scheduler: "CN=system:kube-scheduler", ControllerManager: "CN=system:kube-controller-manager",
	} {
		config, err := clientcmd.BuildConfigFromFlags("", l.Kubeconfig(user))
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(config.CertData, config.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		if got := pair.Leaf.Subject.String(); got != subject || config.Host != "https://198.18.0.2" {
			t.Errorf("kubeconfig of %s: expected %s at https://198.18.0.2, got %s at %s", user, subject, got, config.Host)
		}
		if info, _ := os.Stat(l.Kubeconfig(user)); info.Mode().Perm() != 0o600 {
			t.Errorf("kubeconfig of %s: expected mode 0600, got %o", user, info.Mode().Perm())
		}
	}
}
