// Stands in for 958d994c53b87901a6215795586644869da4963e8767e5bb3c54d657ba6690a5
//
// The original is 4000 lines of test cases, made whenever the program starts.

package packets
