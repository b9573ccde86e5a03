// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// actor is somebody who uses kubectl.
type actor struct {
	c    *cluster
	args []string // before every command
}

// as is a user whom the tests' administrator impersonates.
func (c *cluster) as(user string) actor { return actor{c: c, args: []string{"--as", user}} }

// bearing is somebody who holds a token and nothing else.
func (c *cluster) bearing(t *testing.T, token string) actor {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: c.config.Host, CertificateAuthorityData: c.config.CAData,
		CertificateAuthority: c.config.CAFile}
	config.AuthInfos["bearer"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "bearer"}
	config.CurrentContext = "lab"
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return actor{c: c, args: []string{"--kubeconfig", file}}
}

// cannot wants a command to be refused, with an error that holds every one of these texts.
func (a actor) cannot(t *testing.T, texts []string, args ...string) {
	t.Helper()
	a.cannotWith(t, "", texts, args...)
}

func (a actor) cannotWith(t *testing.T, stdin string, texts []string, args ...string) {
	t.Helper()
	out := a.c.kubectlWithInput(t, stdin, append(a.args, args...)...)
	for _, text := range texts {
		if out.code == 0 || !strings.Contains(out.stderr, text) {
			t.Errorf("kubectl %s: want it refused with %q: %s", strings.Join(args, " "), text, out)
		}
	}
}

// can wants a command to succeed: what is refused is refused for its own sake.
func (a actor) can(t *testing.T, args ...string) string {
	t.Helper()
	return a.canWith(t, "", args...)
}

func (a actor) canWith(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out := a.c.kubectlWithInput(t, stdin, append(a.args, args...)...)
	if out.code != 0 {
		t.Errorf("kubectl %s: want it allowed: %s", strings.Join(args, " "), out)
	}
	return out.stdout
}

// editor gives a user the built-in role edit, and the right to debug pods, which some clusters add to it.
func (c *cluster) editor(t *testing.T, ns string) actor {
	t.Helper()
	user := "editor-of-" + ns
	c.allow(t, ns, user, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/ephemeralcontainers"},
		Verbs: []string{"get", "update", "patch"}})
	c.mustKubectl(t, "create", "rolebinding", "editors", "-n", ns, "--clusterrole=edit", "--user="+user)
	c.untilAllowed(t, user, &authorizationv1.ResourceAttributes{Namespace: ns, Verb: "patch", Resource: "configmaps"})
	return c.as(user)
}
