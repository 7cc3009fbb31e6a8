/** The tests in network namespaces belong to the peer-to-peer layer, which this version does not have yet. */
console.log('test:nat skipped: there is no peer-to-peer transport yet, so there is no NAT to cross.')
