package pairing

// Inside has what a MAC protects read: a hello with this body, an answer with it, an account.
func Inside(c *Code, body []byte) {
	_, _, _ = Answer(c, append(body[:len(body):len(body)], c.mac("hello", body)...), &Account{})
	if n, err := Ask(c, "x"); err == nil {
		_, _ = n.open(append(body[:len(body):len(body)], c.mac("answer", n.hello, body)...))
	}
	_, _ = parseAccount(body)
}
