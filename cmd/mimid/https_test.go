package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/mimid/mimid/node"
)

// https DIR... is a command of scripts: it certifies the providers in these directories,
// which are made and do not run, and sets up HTTPS between them. After a directory
// "only" takes its overlay away.
func https(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: https DIR [only] ...")
	}
	var dirs []string
	configs := map[string]*node.Config{}
	at := map[string]string{}
	for _, a := range args {
		if a == "only" {
			configs[dirs[len(dirs)-1]].Overlay.Enabled = false
			continue
		}
		dir := ts.MkAbs(a)
		cfg, err := node.ReadConfig(dir)
		ts.Check(err)
		dirs, configs[dir] = append(dirs, dir), cfg
		at[cfg.Domain] = unused(ts)
	}
	newCert := func(c, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		ts.Check(err)
		c.SerialNumber = big.NewInt(time.Now().UnixNano())
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
		ts.Check(err)
		return der, key
	}
	write := func(dir, name, kind string, der []byte) {
		ts.Check(os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "script"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, rootKey := newCert(root, nil, nil)
	for _, dir := range dirs {
		cfg := configs[dir]
		der, key := newCert(&x509.Certificate{DNSNames: []string{cfg.Domain}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, root, rootKey)
		priv, err := x509.MarshalPKCS8PrivateKey(key)
		ts.Check(err)
		write(dir, "https.pem", "CERTIFICATE", der)
		write(dir, "https.key", "PRIVATE KEY", priv)
		write(dir, "roots.pem", "CERTIFICATE", rootDER)
		cfg.HTTPS = node.HTTPS{Listen: at[cfg.Domain], Certificate: "https.pem", Key: "https.key", Roots: "roots.pem", Resolve: maps.Clone(at)}
		cfg.Clients.Listen = unused(ts) // the same after a restart
		b, err := cfg.Bytes()
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, node.ConfigName), b, 0o600))
	}
}

// unused is an address with a port below those that connections get by themselves.
func unused(ts *testscript.TestScript) string {
	for range 100 {
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+mathrand.IntN(22_000))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	ts.Fatalf("no port is free")
	return ""
}
