"use strict";
// The pages work without this file; it keeps ages current and adds comfort.
