Object.defineProperty(this, 'FindProxyForURL', {
  get: function () { if (this.isLoaded) for (;;) {} this.isLoaded = true; return function () { return 'DIRECT'; }; },
});
