// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/pki"
)

// Admin is the user of the kubeconfig for people and tests: a member of system:masters.
const Admin = "admin"

// users maps who gets a kubeconfig to the identity in the certificate.
func users(l Layout) map[string]pki.Leaf {
	return map[string]pki.Leaf{
		Admin:             {CommonName: "lab-admin", Organizations: []string{"system:masters"}},
		ControllerManager: {CommonName: "system:kube-controller-manager"},
		Scheduler:         {CommonName: "system:kube-scheduler"},
		Kubelet:           {CommonName: "system:node:" + l.Name, Organizations: []string{"system:nodes"}},
	}
}

// servers maps the file names of certificates that are no part of a kubeconfig to their identities.
func servers(l Layout) map[string]pki.Leaf {
	localhost := netip.MustParseAddr("127.0.0.1")
	return map[string]pki.Leaf{
		"apiserver": {
			CommonName: "kube-apiserver",
			DNSNames: []string{"localhost", l.Name, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc.cluster.local"},
			IPs: []netip.Addr{localhost, l.Address, KubernetesService},
		},
		"apiserver-kubelet": {CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
		"controllers":       {CommonName: "controllers", IPs: []netip.Addr{l.Address}},
		"kubelet":           {CommonName: "system:node:" + l.Name, DNSNames: []string{l.Name}, IPs: []netip.Addr{l.Address}},
	}
}

// WriteCredentials makes the cluster's authority, certificates, service account key and kubeconfigs.
func WriteCredentials(l Layout, now time.Time) error {
	authority, err := pki.NewAuthority("lab", now)
	if err != nil {
		return err
	}
	if err := write(l.PKI("ca.crt"), authority.Certificate()); err != nil {
		return err
	}
	private, public, err := pki.ServiceAccountKey()
	if err != nil {
		return err
	}
	if err := writePair(l.PKI("service-account.key"), private, l.PKI("service-account.pub"), public); err != nil {
		return err
	}
	for file, leaf := range servers(l) {
		pair, err := authority.Issue(leaf)
		if err != nil {
			return err
		}
		if err := writePair(l.PKI(file+".key"), pair.Key, l.PKI(file+".crt"), pair.Certificate); err != nil {
			return err
		}
	}
	for user, leaf := range users(l) {
		pair, err := authority.Issue(leaf)
		if err != nil {
			return err
		}
		if err := writeKubeconfig(l, user, authority.Certificate(), pair); err != nil {
			return err
		}
	}
	return nil
}

func writeKubeconfig(l Layout, user string, authority []byte, pair pki.Pair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: l.Server(), CertificateAuthorityData: authority}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{
		ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key,
	}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: user}
	config.CurrentContext = "lab"
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig of %s: %w", user, err)
	}
	return write(l.Kubeconfig(user), data)
}

func writePair(keyPath string, key []byte, otherPath string, other []byte) error {
	if err := write(keyPath, key); err != nil {
		return err
	}
	return write(otherPath, other)
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
