// SPDX-License-Identifier: Apache-2.0

package tektontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/tektoncd/pipeline/pkg/apis/config"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// line is a line of the log (SidecarLogResult of Tekton's internal/sidecarlogresults).
type line struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Type  string `json:"type"`
}

// Log is what the sidecar wrote. The zero value is an empty log.
type Log struct {
	text    bytes.Buffer
	longest int
}

// TaskResult adds a task result with the content of its file.
func (l *Log) TaskResult(name, value string) { l.add(line{name, value, "task"}) }

// StepResult adds a result of the step in container.
func (l *Log) StepResult(container, name, value string) {
	l.add(line{container + "." + name, value, "step"})
}

// StepArtifacts adds the artifacts of the step in container, as JSON.
func (l *Log) StepArtifacts(container, value string) { l.add(line{container, value, "stepArtifact"}) }

func (l *Log) add(entry line) {
	data, err := json.Marshal(entry)
	if err != nil {
		panic(err) // strings always encode
	}
	l.text.Write(append(data, '\n'))
	l.longest = max(l.longest, len(data))
}

// settings returns Tekton's settings for reading this log, with the other settings unchanged.
func (l *Log) settings(others *config.Config) *config.Config {
	changed, features := *others, *others.FeatureFlags
	features.ResultExtractionMethod = config.ResultExtractionMethodSidecarLogs
	features.MaxResultSize = l.longest + 1
	changed.FeatureFlags = &features
	return &changed
}

// client returns a Kubernetes client that can only read this log, for any pod.
func (l *Log) client() kubernetes.Interface { return client{log: l.text.Bytes()} }

// The nil interfaces are the methods that are never called.
type client struct {
	kubernetes.Interface
	log []byte
}

type core struct {
	typedcorev1.CoreV1Interface
	log []byte
}

type pods struct {
	typedcorev1.PodInterface
	log []byte
}

func (c client) CoreV1() typedcorev1.CoreV1Interface { return core{log: c.log} }

func (c core) Pods(string) typedcorev1.PodInterface { return pods{log: c.log} }

// GetLogs returns a request that is answered without a network.
func (p pods) GetLogs(name string, _ *corev1.PodLogOptions) *rest.Request {
	base := &url.URL{Scheme: "https", Host: "none.invalid"}
	return rest.NewRequestWithClient(base, "", rest.ClientContentConfig{}, &http.Client{Transport: answer(p.log)}).
		Verb("GET").Resource("pods").Name(name).SubResource("log")
}

// answer is a transport that sends nothing.
type answer []byte

func (a answer) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet {
		return nil, fmt.Errorf("expected GET, got %s", request.Method)
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: request, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a)),
	}, nil
}
