// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

// tripwire is a server that counts who connects.
type tripwire struct {
	*httptest.Server
	connections atomic.Int64
}

func newTripwire() *tripwire {
	t := &tripwire{Server: httptest.NewUnstartedServer(http.NotFoundHandler())}
	t.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			t.connections.Add(1)
		}
	}
	t.Start()
	return t
}

// newFakeServer answers the requests of the plugin as an API server with Tekton does, and more by path.
func newFakeServer(cluster *verifytest.Cluster, more map[string]string) (*httptest.Server, error) {
	answers, err := fakeAnswers(cluster)
	if err != nil {
		return nil, err
	}
	maps.Copy(answers, more)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, ok := answers[r.URL.Path]
		switch {
		case ok:
		case strings.HasSuffix(r.URL.Path, "/forbidden"):
			w.WriteHeader(http.StatusForbidden)
			answer = status(403, "Forbidden", `taskruns.tekton.dev \"forbidden\" is forbidden: User \"me\" cannot get resource \"taskruns\"`)
		default:
			w.WriteHeader(http.StatusNotFound)
			name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
			answer = status(404, "NotFound", fmt.Sprintf(`taskruns.tekton.dev \"%s\" not found`, name))
		}
		_, _ = w.Write([]byte(answer))
	})), nil
}

func status(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"reason":%q,"message":"%s"}`, code, reason, message)
}

func fakeAnswers(cluster *verifytest.Cluster) (map[string]string, error) {
	jwk, err := cluster.JWK()
	if err != nil {
		return nil, err
	}
	key, err := json.Marshal(jwk)
	if err != nil {
		return nil, err
	}
	answers := map[string]string{
		"/api":                              `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":                             `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"tekton.dev","versions":[{"groupVersion":"tekton.dev/v1","version":"v1"}],"preferredVersion":{"groupVersion":"tekton.dev/v1","version":"v1"}}]}`,
		"/api/v1":                           `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"configmaps","singularName":"configmap","kind":"ConfigMap","namespaced":true,"verbs":["get","list"]}]}`,
		"/apis/tekton.dev/v1":               `{"kind":"APIResourceList","groupVersion":"tekton.dev/v1","resources":[{"name":"taskruns","singularName":"taskrun","shortNames":["tr","trs"],"kind":"TaskRun","namespaced":true,"verbs":["get","list"]}]}`,
		"/.well-known/openid-configuration": `{"issuer":"` + verifytest.Issuer + `"}`,
		"/openid/v1/jwks":                   `{"keys":[` + string(key) + `]}`,
		"/api/v1/namespaces/kube-system":    `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"` + verifytest.ClusterUID + `"}}`,
		"/api/v1/namespaces/ci":             `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"ci"}}`,
		"/api/v1/namespaces/ci/configmaps/settings": `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"settings","namespace":"ci"}}`,
		"/api/v1/namespaces/ci/pods/build-pod": `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"build-pod","namespace":"ci",` +
			`"uid":"3db15e48-971f-4815-84b3-272e52f61a10","ownerReferences":[{"apiVersion":"tekton.dev/v1","kind":"TaskRun","name":"build",` +
			`"uid":"6340374f-3a88-4ff2-812e-c155a2d8e142","controller":true}]}}`,
		"/apis/tekton.dev/v1/namespaces/ci/taskruns": `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{},` +
			`"items":[{"metadata":{"name":"build"}},{"metadata":{"name":"deploy"}}]}`,
	}
	for name, change := range copies() {
		tr, err := signedTaskRun(cluster, name)
		if err != nil {
			return nil, err
		}
		change(tr)
		data, err := json.Marshal(tr)
		if err != nil {
			return nil, err
		}
		answers["/apis/tekton.dev/v1/namespaces/ci/taskruns/"+name] = string(data)
	}
	return answers, nil
}
