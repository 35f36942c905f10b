// Package discovery finds users by what people know of each other: telephone
// numbers, mail addresses and handles, in one spelling each (SII), and the keys
// under which they are announced and asked for without being told (Secret).
//
// Pure: values in, values out; time is an argument.
package discovery
