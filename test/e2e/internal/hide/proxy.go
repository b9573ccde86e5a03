// SPDX-License-Identifier: Apache-2.0

package hide

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Proxy is an API server in front of a real one.
type Proxy struct {
	server *httptest.Server
	token  string // that it asks of its clients
}

// taskRuns are the addresses whose answers hold TaskRuns.
var taskRuns = regexp.MustCompile(`^/apis/tekton\.dev/[a-z0-9]+/(namespaces/[^/]+/)?taskruns(/[^/]+)?(/status)?$`)

// NewProxy starts a proxy on this machine that acts as the user of config.
func NewProxy(config *rest.Config) (*Proxy, error) {
	config = rest.CopyConfig(config)
	config.NextProtos = []string{"http/1.1"} // with others there is no upgrade, which port-forwarding needs
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	p := &Proxy{token: rand.Text()}
	p.server = httptest.NewTLSServer(p.handler(target, transport))
	return p, nil
}

// Close ends the proxy and the connections of its clients.
func (p *Proxy) Close() {
	p.server.CloseClientConnections() // watches do not end by themselves
	p.server.Close()
}

// WriteKubeconfig writes a file by which clients use the proxy.
func (p *Proxy) WriteKubeconfig(path string) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["hiding"] = &clientcmdapi.Cluster{
		Server:                   p.server.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.server.Certificate().Raw}),
	}
	config.AuthInfos["hiding"] = &clientcmdapi.AuthInfo{Token: p.token}
	config.Contexts["hiding"] = &clientcmdapi.Context{Cluster: "hiding", AuthInfo: "hiding"}
	config.CurrentContext = "hiding"
	return clientcmd.WriteToFile(*config, path)
}

func (p *Proxy) handler(target *url.URL, transport http.RoundTripper) http.Handler {
	proxy := &httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1, // watches
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
			if taskRuns.MatchString(r.In.URL.Path) {
				r.Out.Header.Del("Accept-Encoding") // the transport asks for what it undoes
			}
		},
		ModifyResponse: modify,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+p.token {
			http.Error(w, "this proxy is for its own test", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

// modify hides what an answer holds of ours. One in another format than JSON would show it, and is an error.
func modify(response *http.Response) error {
	if !taskRuns.MatchString(response.Request.URL.Path) {
		return nil
	}
	media, _, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return fmt.Errorf("expected TaskRuns in JSON, got %q", response.Header.Get("Content-Type"))
	}
	if watch, err := strconv.ParseBool(response.Request.URL.Query().Get("watch")); err == nil && watch {
		response.Body = events(response.Body)
		return nil
	}
	defer func() { _ = response.Body.Close() }()
	var hidden bytes.Buffer
	if err := copyHidden(&hidden, response.Body); err != nil {
		return err
	}
	response.Body = io.NopCloser(&hidden)
	response.ContentLength = int64(hidden.Len())
	response.Header.Set("Content-Length", strconv.Itoa(hidden.Len()))
	return nil
}

// stream is what is left of a watch.
type stream struct {
	io.Reader
	source io.Closer
}

func (s stream) Close() error { return s.source.Close() }

// events returns a watch's events, each as soon as it comes.
func events(source io.ReadCloser) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(copyHidden(writer, source)) }()
	return stream{reader, closers{source, reader}}
}

type closers []io.Closer

func (c closers) Close() error {
	var all error
	for _, one := range c {
		all = errors.Join(all, one.Close())
	}
	return all
}

// copyHidden copies JSON values without what is ours.
func copyHidden(to io.Writer, from io.Reader) error {
	decoder := json.NewDecoder(from)
	decoder.UseNumber()
	for {
		var value map[string]any
		switch err := decoder.Decode(&value); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		answer(value)
		line, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if _, err := to.Write(append(line, '\n')); err != nil {
			return err
		}
	}
}

// answer hides what is ours in a TaskRun, a list of them, a table or an event of a watch.
func answer(value map[string]any) {
	if object, ok := value["object"].(map[string]any); ok { // of an event, or of a table's row
		answer(object)
		return
	}
	for _, item := range objects(value["items"]) {
		TaskRun(item)
	}
	for _, row := range objects(value["rows"]) {
		answer(row)
	}
	TaskRun(value)
}
