// SPDX-License-Identifier: Apache-2.0

// Command registrar announces the SPIFFE CSI driver to the kubelet, as the sidecar node-driver-registrar of
// Kubernetes' storage group does, whose module no proxy serves. The kubelet finds its socket in the folder
// /registration and asks it for the driver's name and socket.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// driverTimeout is how long the driver may take to answer at its socket.
const driverTimeout = time.Minute

func main() {
	driver := flag.String("csi-address", "/spiffe-csi/csi.sock", "the driver's socket")
	seen := flag.String("kubelet-registration-path", "/var/lib/kubelet/plugins/csi.spiffe.io/csi.sock",
		"the driver's socket, as the kubelet sees it")
	folder := flag.String("registration-folder", "/registration", "where the kubelet looks for plugins")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *driver, *seen, *folder); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, driver, seen, folder string) error {
	name, err := driverName(ctx, driver)
	if err != nil {
		return fmt.Errorf("ask the driver at %s for its name: %w", driver, err)
	}
	path := filepath.Join(folder, name+"-reg.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	server := grpc.NewServer()
	registration.RegisterRegistrationServer(server, &registrar{name: name, endpoint: seen, failed: failed})
	go func() { failed <- server.Serve(listener) }()
	defer server.Stop() // removes the socket: the kubelet forgets the driver
	log.Printf("serving the registration of %s at %s", name, path)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func driverName(ctx context.Context, socket string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	connection, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.Close() }()
	info, err := csi.NewIdentityClient(connection).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	return info.GetName(), err
}

// registrar answers the kubelet.
type registrar struct {
	registration.UnimplementedRegistrationServer
	name, endpoint string
	failed         chan<- error
}

func (r *registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: r.name, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus ends the program when the kubelet refused: the next start tries again.
func (r *registrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.GetPluginRegistered() {
		r.failed <- fmt.Errorf("the kubelet refused the driver: %s", status.GetError())
	}
	return &registration.RegistrationStatusResponse{}, nil
}
