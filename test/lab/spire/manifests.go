// SPDX-License-Identifier: Apache-2.0

package spire

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/manifest"
)

//go:embed files/*.yaml
var files embed.FS

const bundleConfigMap = "spire-bundle"

// Settings say how SPIRE is to run.
type Settings struct {
	Config            string // one of Configs
	ControllerManager bool   // also run the controller that makes entries of ClusterSPIFFEIDs
	KeyType           string // of SVIDs, one of KeyTypes
	Images            Images
	Authority         Authority // for Upstream only
}

// KeyTypes are the kinds of keys that agents make for workloads. The first is SPIRE's default.
func KeyTypes() []string { return []string{"ec-p256", "rsa-2048", "ec-p384"} }

// Images are references to what runs in the pods.
type Images struct {
	Server, Agent, CSIDriver, Registrar, ControllerManager string
}

// Authority is the one above SPIRE's: its certificate and key, and the root above it, all PEM.
type Authority struct {
	Certificate, Key, Root []byte
}

// values are what the manifests of one server are filled in with.
type values struct {
	Settings
	Name, TrustDomain, BundleConfigMap, DataFolder string
	Port, BundlePort, HealthPort                   int
	Peer                                           *values
	Cluster, CATTL, SVIDTTL                        string
	AgentHealthPort, ManagerHealthPort             int
	WebhookPort                                    int
	Upstream, Short                                bool
}

func own(s Settings) values {
	return values{
		Settings: s, Name: "spire-server", TrustDomain: TrustDomain().Name(), BundleConfigMap: bundleConfigMap,
		DataFolder: DataFolder + "/server", Port: serverPort, BundlePort: bundlePort, HealthPort: healthPort,
		Cluster: Cluster, CATTL: CATTL, SVIDTTL: SVIDTTL, AgentHealthPort: agentHealthPort,
		ManagerHealthPort: managerHealthPort, WebhookPort: webhookPort,
		Upstream: s.Config == Upstream, Short: s.Config == Short,
	}
}

func foreign(s Settings) values {
	v := own(s)
	v.Name, v.TrustDomain = "spire-server-foreign", ForeignTrustDomain().Name()
	v.BundleConfigMap, v.DataFolder = bundleConfigMap+"-foreign", DataFolder+"/foreign"
	v.Port, v.BundlePort, v.HealthPort = foreignServerPort, foreignBundlePort, foreignHealthPort
	v.ControllerManager = false
	return v
}

// DataFolder is where the servers keep their data on the node.
const DataFolder = "/var/lib/spire"

// ServerManifests are what must run before an agent starts.
func ServerManifests(s Settings) ([]*unstructured.Unstructured, error) {
	server, other := own(s), foreign(s)
	names := []string{"common.yaml"}
	if server.Upstream {
		names = append(names, "upstream.yaml")
	}
	if s.ControllerManager {
		names = append(names, "manager.yaml")
	}
	all, err := render(server, names...)
	if err != nil {
		return nil, err
	}
	list := []values{server}
	if s.Config == Federated {
		list[0].Peer = &other
		other.Peer = &server
		list = append(list, other)
	}
	for _, v := range list {
		objects, err := render(v, "server.yaml")
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// NodeManifests are what runs on each node: the agent and the CSI driver.
func NodeManifests(s Settings) ([]*unstructured.Unstructured, error) {
	return render(own(s), "agent.yaml", "csi.yaml")
}

// ControllerManagerModule is the module of the controller that makes entries of ClusterSPIFFEIDs.
const ControllerManagerModule = "github.com/spiffe/spire-controller-manager"

// CRDs reads the definitions of ClusterSPIFFEID and its like from the files of their module.
func CRDs(module fs.FS) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, name := range []string{"clusterspiffeids", "clusterstaticentries", "clusterfederatedtrustdomains"} {
		data, err := fs.ReadFile(module, "config/crd/bases/spire.spiffe.io_"+name+".yaml")
		if err != nil {
			return nil, err
		}
		objects, err := manifest.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("definition of %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}

func templates() (*template.Template, error) {
	return template.New("").Funcs(template.FuncMap{"base64": base64.StdEncoding.EncodeToString}).
		Option("missingkey=error").ParseFS(files, "files/*.yaml")
}

func render(v values, names ...string) ([]*unstructured.Unstructured, error) {
	parsed, err := templates()
	if err != nil {
		return nil, err
	}
	var all []*unstructured.Unstructured
	for _, name := range names {
		var out bytes.Buffer
		if err := parsed.ExecuteTemplate(&out, name, v); err != nil {
			return nil, err
		}
		objects, err := manifest.Parse(out.Bytes())
		if err != nil {
			return nil, fmt.Errorf("manifest of SPIRE %s: %w", name, err)
		}
		all = append(all, objects...)
	}
	return all, nil
}
