// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"slices"
	"strings"
)

// Names of the components, in the order in which they start.
const (
	Etcd              = "etcd"
	Containerd        = "containerd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
)

// Components lists the names of all components in the order in which they start.
func Components() []string {
	return []string{Etcd, Containerd, APIServer, ControllerManager, Scheduler, Kubelet}
}

// HealthURL is the address of a component's health check, or empty if it has none.
func HealthURL(l Layout, component string) string {
	address := l.Address.String()
	return map[string]string{
		Etcd:              "http://" + address + ":2381/health",
		APIServer:         "https://" + address + "/readyz",
		ControllerManager: "https://" + address + ":10257/healthz",
		Scheduler:         "https://" + address + ":10259/healthz",
		Kubelet:           "https://" + address + ":10250/healthz",
	}[component]
}

const etcdClient = "http://127.0.0.1:2379"

// flagIssuer names an issuer of service account tokens. The first one signs them.
const flagIssuer = "--service-account-issuer="

// Args are a component's arguments. extra come last: a flag given again replaces the first, unless it is one that
// may be given several times, such as --service-account-key-file. Issuers in extra are all that there are.
func Args(l Layout, component string, extra ...string) ([]string, error) {
	tables := map[string]func(Layout) []string{
		Etcd: etcdArgs, Containerd: containerdArgs, APIServer: apiServerArgs,
		ControllerManager: controllerManagerArgs, Scheduler: schedulerArgs, Kubelet: kubeletArgs,
	}
	table, ok := tables[component]
	if !ok {
		return nil, fmt.Errorf("unknown component %q: expected one of %s", component, strings.Join(Components(), ", "))
	}
	isIssuer := func(arg string) bool { return strings.HasPrefix(arg, flagIssuer) }
	args := table(l)
	if slices.ContainsFunc(extra, isIssuer) {
		args = slices.DeleteFunc(args, isIssuer)
	}
	return slices.Concat(args, extra), nil
}

func etcdArgs(Layout) []string {
	return []string{
		"--data-dir=/var/lib/etcd",
		"--listen-client-urls=" + etcdClient,
		"--advertise-client-urls=" + etcdClient,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--listen-metrics-urls=http://0.0.0.0:2381", // for health checks from the host
		"--unsafe-no-fsync",                         // a lab is never recovered from its disk
		"--log-level=warn",
	}
}

func containerdArgs(l Layout) []string { return []string{"--config=" + l.Etc("containerd.toml")} }

func apiServerArgs(l Layout) []string {
	return []string{
		"--etcd-servers=" + etcdClient,
		"--secure-port=443",
		"--bind-address=0.0.0.0",
		"--advertise-address=" + l.Address.String(),
		// The node owns the service address; an endpoint would be of no use without kube-proxy.
		"--endpoint-reconciler-type=none",
		// Webhooks are called at their pods' addresses, for the same reason.
		"--enable-aggregator-routing=true",
		"--service-cluster-ip-range=" + ServiceNetwork.String(),
		"--tls-cert-file=" + l.PKI("apiserver.crt"),
		"--tls-private-key-file=" + l.PKI("apiserver.key"),
		"--client-ca-file=" + l.PKI("ca.crt"),
		"--kubelet-certificate-authority=" + l.PKI("ca.crt"),
		"--kubelet-client-certificate=" + l.PKI("apiserver-kubelet.crt"),
		"--kubelet-client-key=" + l.PKI("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		flagIssuer + Issuer,
		"--service-account-signing-key-file=" + l.PKI("service-account.key"),
		"--service-account-key-file=" + l.PKI("service-account.pub"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
	}
}

func controllerManagerArgs(l Layout) []string {
	return []string{
		"--kubeconfig=" + l.Kubeconfig(ControllerManager),
		"--authentication-kubeconfig=" + l.Kubeconfig(ControllerManager),
		"--authorization-kubeconfig=" + l.Kubeconfig(ControllerManager),
		"--service-account-private-key-file=" + l.PKI("service-account.key"),
		"--root-ca-file=" + l.PKI("ca.crt"),
		"--use-service-account-credentials=true",
		"--flex-volume-plugin-dir=/var/lib/kubelet/volumeplugins", // the default is a folder of the host
		"--tls-cert-file=" + l.PKI("controllers.crt"),
		"--tls-private-key-file=" + l.PKI("controllers.key"),
		"--leader-elect=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
}

func schedulerArgs(l Layout) []string {
	return []string{
		"--kubeconfig=" + l.Kubeconfig(Scheduler),
		"--authentication-kubeconfig=" + l.Kubeconfig(Scheduler),
		"--authorization-kubeconfig=" + l.Kubeconfig(Scheduler),
		"--tls-cert-file=" + l.PKI("controllers.crt"),
		"--tls-private-key-file=" + l.PKI("controllers.key"),
		"--leader-elect=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}
}

func kubeletArgs(l Layout) []string {
	return []string{
		"--config=" + l.Etc("kubelet.yaml"),
		"--kubeconfig=" + l.Kubeconfig(Kubelet),
		"--hostname-override=" + l.Name,
		"--node-ip=" + l.Address.String(),
	}
}
